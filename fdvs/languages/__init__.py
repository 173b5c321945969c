"""Languages: which one a text is in, how it is cut into words, and which words are forms of one."""
