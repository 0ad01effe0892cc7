"""What each setting's value does in a run: one function per setting; the words are in messages/settings_*."""
