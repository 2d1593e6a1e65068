"""Memory of a training: what can be asked, and the architectures that are shipped. No torch in here."""
