"""Read, check and build configs."""
