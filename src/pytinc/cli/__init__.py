"""The ``pytinc`` command, which takes the commands of ``tinc``."""
