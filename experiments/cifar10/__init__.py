"""CIFAR-10 on one GPU: the setting of a published training and one of this library's own."""
