"""Network-namespace test-bed: it runs the programs from outside. Nothing in pytinc imports it."""
