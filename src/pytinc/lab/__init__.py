"""A test-bed of network namespaces that runs the programs from outside. Nothing in pytinc imports it."""
