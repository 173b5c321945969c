"""A vLLM server of one's own: started on this machine with settings for this work, watched, and ended with us."""
