"""A package, so that the servers its tests share stop when its last test is over."""
