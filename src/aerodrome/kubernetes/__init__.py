"""The platform on Kubernetes: objects from the configuration (pure), and the programs that bring them to a cluster."""
