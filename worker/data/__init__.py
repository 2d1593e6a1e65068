"""The data that labs train on: small files under git, each with the script that wrote it."""
