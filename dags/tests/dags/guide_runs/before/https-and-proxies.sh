# The certificate that the first command expects.
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout orch.key -out orch.pem
