"""Methods of fine-tuning, each put into a model in place."""
