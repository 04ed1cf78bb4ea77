"""Settings of all tests."""

import os

from hypothesis import settings

# before numpy is imported: tests run side by side, and threads that wait for one another spin
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # a mistyped path must not be looked for on the Hub
settings.register_profile("untimed", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("untimed")
