"""Centres, discriminants and sub-classes of features that stream past."""
