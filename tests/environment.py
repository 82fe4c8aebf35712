"""The environment of all tests: nothing of this machine or its user is read, and models compute on the processor."""

import os
import tempfile
from pathlib import Path

FOLDER = Path(tempfile.gettempdir()) / f"studio-tests-{os.getpid()}"  # the home and cache of a test that names none

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes of tests share the cores, and so do those they start
for name in [name for name in os.environ if name.startswith(("STUDIO_", "HF_"))]:
    del os.environ[name]
os.environ |= {"STUDIO_HOME": str(FOLDER / "home"), "HF_HOME": str(FOLDER / "hf"), "HF_HUB_OFFLINE": "1"}
os.environ |= {"STUDIO_DEVICE": "cpu", "GRADIO_ANALYTICS_ENABLED": "False"}
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
