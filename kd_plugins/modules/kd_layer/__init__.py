"""The KD layer of letKD: a 1x1 projection, its scores, and what they feed back into the student."""
