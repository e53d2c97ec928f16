module cloud-farm-tests

go 1.24.4

require github.com/argoproj/argo-workflows/v3 v3.6.12
