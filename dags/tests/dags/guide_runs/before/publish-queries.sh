key=$(token)
