"""Which models fdvs recommends, which are on this machine, how they come here, and what a name stands for."""
