"""`python -m zoo` is the `zoo` command, for where its script is not on the path."""

import sys

from zoo.cli import main

sys.exit(main())
