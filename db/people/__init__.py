"""What people say of photos, pairs and sets: verdicts, tags, selections."""
