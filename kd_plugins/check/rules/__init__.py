"""What is wrong with a config, by the section that it stands in."""
