"""The bias of contrastive divergence, by enumeration."""
