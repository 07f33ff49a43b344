"""The training of a config, epoch by epoch, and the folder of its run."""
