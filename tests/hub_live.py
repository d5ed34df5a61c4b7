"""Exercises the real Hugging Face Hub, for whoever has a token: `make hub-live`.

It creates one private repository of a random name in the token's account, pushes a small model, pulls it back, tags
it, damages it, and deletes the repository at the end, whatever happened. HF_TOKEN, or the login that `hf auth login`
stored, must be allowed to write; HF_ENDPOINT leads it to another Hub. Nothing else of the account is touched.
"""

import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
START = time.monotonic()


def say(text):
    print(f"{time.monotonic() - START:6.1f} s  {text}", flush=True)


def check(holds, what):
    """Says that something holds, or ends with what does not."""
    if not holds:
        raise AssertionError(f"this does not hold: {what}")
    say(f"ok: {what}")


def refused(call, kinds, what):
    """Checks that a call is refused with one of zoo's errors, whose sentence is shown. No token may be in it."""
    try:
        call()
    except kinds as error:
        found = str(error)
    else:
        raise AssertionError(f"nothing was refused: {what}")
    from huggingface_hub import get_token

    check((get_token() or "no token") not in found, f"{what} is refused: {found}")


def exercise(api, repo):
    """Runs every check on a repository that does not exist yet."""
    import numpy as np
    from huggingface_hub import CommitOperationAdd

    import zoo
    from zoo.errors import IntegrityError, StoreError, UnknownName

    ref = f"hf://{repo}"
    refused(lambda: zoo.pull(ref), UnknownName, "a repository that does not exist")

    model = zoo.build("softmax")
    for index, weight in enumerate(model.weights):
        random = np.random.default_rng(index)
        weight.assign(random.normal(size=weight.shape).astype("float32"))
    first = zoo.push(model, ref, private=True, license="mit", message="From make hub-live", tag="v1")
    say(f"pushed {first.ref}")
    check(first.created, "the push made a commit")
    info = api.model_info(repo, files_metadata=True)
    check(info.private, "the repository is private")
    check(info.sha == first.id, "the Hub has the commit that the push gave")
    check(len(api.list_repo_commits(repo)) == 2, "one commit was made for all files, beside the Hub's own first one")
    names = {file.rfilename for file in info.siblings}
    check(
        {"config.json", "model.safetensors", "README.md"} <= names, f"the files are there: {', '.join(sorted(names))}"
    )
    check(info.card_data.license == "mit" and info.library_name == "keras", "the Hub understands the model card")

    again = zoo.push(model, ref, license="mit")
    check((again.id, again.created) == (first.id, False), "the same content makes no second commit")

    folder = zoo.pull(ref)
    check(zoo.pull(f"{ref}@v1") == folder, "the tag means the same commit")
    check(zoo.pull(f"{ref}@{first.id}") == folder, "so do the 40 digits of the commit")
    images = np.random.default_rng(0).random((3, *model.input_shape[1:]), dtype="float32")
    same = np.array_equal(model.predict(images, verbose=0), zoo.load(ref).predict(images, verbose=0))
    check(same, "what was pulled predicts bit for bit what was pushed")

    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(damaged(whole))
    check((zoo.pull(ref) / "model.safetensors").read_bytes() == whole, "a damaged copy in the cache is fetched again")

    operation = CommitOperationAdd("model.safetensors", damaged(whole))
    bad = api.create_commit(repo, [operation], commit_message="Damage the weights", parent_commit=first.id).oid
    refused(lambda: zoo.pull(f"{ref}@{bad}"), IntegrityError, "a commit whose weights are not those of its config.json")
    check(zoo.pull(f"{ref}@v1") == folder, "the tag still means the sound commit")
    mended = zoo.push(model, ref, license="mit", message="Mend the weights")
    check(zoo.push(model, ref, license="mit").id == mended.id != bad, "a push mends what was damaged")
    refused(lambda: zoo.pull(f"{ref}@no-such-tag"), UnknownName, "a revision that does not exist")

    token, os.environ["HF_TOKEN"] = os.environ.get("HF_TOKEN"), f"hf_{'x' * 34}"
    try:
        refused(lambda: zoo.pull(f"{ref}@main"), (StoreError, UnknownName), "a wrong token")
    finally:
        os.environ.pop("HF_TOKEN")
        if token is not None:
            os.environ["HF_TOKEN"] = token


def damaged(content):
    """Returns bytes of the same length, one bit of which differs."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def main():
    """Returns the exit status: 0 when every check held and the repository is deleted."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        user = api.whoami()["name"]
    except LocalTokenNotFoundError:
        print("There is no token. Set HF_TOKEN to one that may write, or run `hf auth login`.", file=sys.stderr)
        return 2
    except HfHubHTTPError as error:
        print(f"The Hub does not take the token (status {error.response.status_code}).", file=sys.stderr)
        return 2
    repo = f"{user}/zoo-live-{secrets.token_hex(6)}"
    say(f"using the private repository {repo} at {api.endpoint}")
    with tempfile.TemporaryDirectory(prefix="zoo-live-") as folder:
        os.environ["ZOO_CACHE"] = str(Path(folder) / "cache")
        try:
            exercise(api, repo)
        finally:
            api.delete_repo(repo, missing_ok=True)
            say(f"deleted {repo}")
    check(not api.repo_exists(repo), "nothing is left on the Hub")
    return 0


if __name__ == "__main__":
    sys.exit(main())
