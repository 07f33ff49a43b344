"""K-means, linear discriminants and sub-classes of streamed features."""
