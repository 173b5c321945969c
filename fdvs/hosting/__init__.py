"""Models that are loaded into a process of their own, once, for all the processes of a build."""
