"""What `manage.py up` runs: broker, worker and web server as child processes of one foreground command."""
