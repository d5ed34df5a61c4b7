"""How long the commands that need no Keras take: medians over fresh processes, interleaved.

    python tests/benchmarks/startup.py [repeats]

Wall time includes the start of Python itself, shown first; the targets are 0.15 s for `import zoo` and 0.4 s for the
commands, on an idle two-core machine.
"""

import os
import platform
import statistics
import subprocess
import sys
import time

PYTHON = [sys.executable, "-c"]
ZOO = [sys.executable, "-c", "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"]
CASES = [
    ("python -c pass", [*PYTHON, "pass"], None),
    ("import zoo", [*PYTHON, "import zoo"], 0.15),
    ("zoo --version", [*ZOO, "--version"], 0.4),
    ("zoo --help", [*ZOO, "--help"], 0.4),
    ("zoo list", [*ZOO, "list"], 0.4),
    ("zoo info vit", [*ZOO, "info", "vit"], 0.4),
    ("zoo info focal+warmup", [*ZOO, "info", "focal+warmup"], 0.4),
    ("zoo tricks", [*ZOO, "tricks"], 0.4),
    ("zoo recipes", [*ZOO, "recipes"], 0.4),
    ("zoo datasets", [*ZOO, "datasets"], 0.4),
    ("zoo lst", [*ZOO, "lst"], 0.4),
    ("zoo info vitt", [*ZOO, "info", "vitt"], 0.4),
    ("zoo train vitt digits", [*ZOO, "train", "vitt", "digits"], 0.4),
    ("zoo train vit digits --recipe focl", [*ZOO, "train", "vit", "digits", "--recipe", "focl"], 0.4),
    ("zoo train vit digtis", [*ZOO, "train", "vit", "digtis"], 0.4),
]


def in_terminal(command):
    """Runs a command with a pseudo-terminal as its output, where rich draws; returns seconds."""
    import pty

    master, slave = pty.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=subprocess.DEVNULL)
    os.close(slave)
    try:
        while os.read(master, 65536):
            pass
    except OSError:  # the other end is closed
        pass
    process.wait()
    os.close(master)
    return time.perf_counter() - began


def piped(command):
    """Runs a command with its output in a pipe; returns seconds."""
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - began


def main():
    """Prints a table of medians in seconds."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    ways = [("piped", piped)] + ([("terminal", in_terminal)] if os.name == "posix" else [])
    seconds = {(name, way): [] for name, _, _ in CASES for way, _ in ways}
    for _ in range(repeats + 1):
        for name, command, _ in CASES:
            for way, run in ways:
                seconds[name, way].append(run(command))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, median of {repeats}")
    print(f"{'':36}{'target':>8}" + "".join(f"{way:>10}" for way, _ in ways))
    for name, _, target in CASES:
        medians = "".join(f"{statistics.median(seconds[name, way][1:]):10.3f}" for way, _ in ways)
        print(f"{name:36}{target or '':>8}{medians}")


if __name__ == "__main__":
    main()
