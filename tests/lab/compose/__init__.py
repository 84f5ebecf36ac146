"""The lab in containers: what docker-compose.yml brings up, watched as the namespace lab is."""
