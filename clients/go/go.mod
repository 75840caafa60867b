module upload

go 1.16
