"""The stores that keep the contract of `evtool.store`, a package or module each. None imports another."""
