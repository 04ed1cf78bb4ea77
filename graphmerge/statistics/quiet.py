"""What is infinite or NaN in a model becomes NaN without a warning of numpy: reading has warned."""

import numpy as np

QUIET = np.errstate(invalid="ignore", over="ignore", divide="ignore")
"""A decorator of whatever computes with what models hold."""
