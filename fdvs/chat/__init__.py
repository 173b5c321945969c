"""Language and vision-language models as one thing: requests in, replies out, wherever the model runs."""
