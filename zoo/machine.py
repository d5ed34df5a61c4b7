"""What a run was made with: versions and hardware, without anything that names the machine or its user."""

import importlib.metadata
import os
import platform
from pathlib import Path


def versions():
    """Returns the versions that decide a result: zoo, Keras, the backend, NumPy and Python."""
    import keras

    import zoo

    found = {"zoo": zoo.__version__, "python": platform.python_version(), "keras": keras.__version__}
    backend = keras.backend.backend()
    for package in dict.fromkeys(("numpy", backend, "tensorflow")):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"backend": backend}


def hardware():
    """Returns processor, cores, memory in GiB and accelerators."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": memory_gib(),
        "devices": _accelerators(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _accelerators():
    import keras

    if keras.backend.backend() == "torch":  # Keras lists devices for the other backends only
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [d for d in keras.distribution.list_devices() if not d.startswith("cpu")]


def processor():
    """Returns the name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def memory_gib():
    """Returns the machine's memory in GiB, or None where it does not say."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def available_gib():
    """Returns the memory in GiB that programs can have now without swapping, or None where it is not known."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return round(int(line.split()[1]) / 2**20, 1)
    except (OSError, ValueError):
        pass  # not Linux
    return None
