"""Methods and checkpoint formats that other packages bring."""
