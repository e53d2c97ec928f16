module cloud-farm-tests

go 1.25.7

require github.com/argoproj/argo-workflows/v3 v3.7.14
