"""The KD layer of letKD: a 1x1 projection, its scores, and the features computed from them."""
