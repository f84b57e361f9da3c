// Package pinned holds the versions of development tools, apart from the product's own modules, and the tests that
// need modules which the product does not.
package pinned

import (
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const composeFile = "../../docker-compose.yml"

// secrets are what docker-compose.yml asks the user for.
var secrets = []string{"POSTGRES_PASSWORD=one", "GATEWAY_PASSWORD=two", "GOTRUE_JWT_SECRET=three"}

func TestComposeFileLoads(t *testing.T) {
	project := load(t, secrets)
	for _, name := range []string{"postgres", "migrate", "gateway-password", "gateway", "mail"} {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("service %s is missing", name)
		}
	}
	for _, name := range []string{"postgres", "gateway", "mail"} {
		if check := project.Services[name].HealthCheck; check == nil || len(check.Test) == 0 {
			t.Errorf("service %s has no health check", name)
		}
	}
	waits := project.Services["gateway"].DependsOn["gateway-password"].Condition
	if waits != types.ServiceConditionCompletedSuccessfully {
		t.Errorf("the gateway starts before its role has a password (%s)", waits)
	}
}

func TestComposeGatewayConnectsAsItsOwnRole(t *testing.T) {
	gateway := load(t, secrets).Services["gateway"]
	dsn := gateway.Environment["DATABASE_URL"]
	const want = "postgres://postern_gateway:two@postgres:5432/postern?sslmode=disable"
	if dsn == nil || *dsn != want {
		t.Errorf("DATABASE_URL is not %s", want)
	}
	for name, value := range gateway.Environment {
		if value != nil && *value == "one" {
			t.Errorf("%s hands the superuser's password to the gateway", name)
		}
	}
}

func TestComposeSecretsHaveNoDefaults(t *testing.T) {
	for i, missing := range secrets {
		if _, err := tryLoad(t, slices.Delete(slices.Clone(secrets), i, i+1)); err == nil {
			t.Errorf("loads without %s", missing)
		}
	}
}

func load(t *testing.T, environment []string) *types.Project {
	t.Helper()
	project, err := tryLoad(t, environment)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func tryLoad(t *testing.T, environment []string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{composeFile}, cli.WithEnv(environment))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(t.Context())
}
