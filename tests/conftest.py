"""Settings of all tests."""

import os

# before numpy is imported: tests run side by side, and threads that wait for one another spin
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
