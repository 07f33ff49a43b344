"""The torchdistill side of the package: io dicts, module paths, boxes and wrappers shared by all methods."""
