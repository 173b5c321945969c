"""Stories: from captions to a tree that can be read, exported and loaded again."""
