// What users of franz-go do: see ../SCENARIOS.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

const patience = 60 * time.Second

func main() {
	scenarios := map[string]func(context.Context, string) error{
		"groups":       groups,
		"transactions": transactions,
		"admin":        administration,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	if err := scenarios[os.Args[1]](ctx, os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("passed")
}

func access() []kgo.Opt {
	user, password := os.Getenv("SASL_USERNAME"), os.Getenv("SASL_PASSWORD")
	var mechanism sasl.Mechanism = plain.Auth{User: user, Pass: password}.AsMechanism()
	if os.Getenv("SASL_MECHANISM") == "OAUTHBEARER" {
		mechanism = oauth.Auth{Token: password}.AsMechanism()
	}
	return []kgo.Opt{kgo.SeedBrokers(os.Getenv("BOOTSTRAP")), kgo.SASL(mechanism)}
}

func client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(access(), options...)...)
}

func equal(what string, expected, got any) error {
	if !reflect.DeepEqual(expected, got) {
		return fmt.Errorf("%s: expected %v, got %v", what, expected, got)
	}
	return nil
}

func refused(what string, expected, got error) error {
	if !errors.Is(got, expected) {
		return fmt.Errorf("%s: expected %v, got %v", what, expected, got)
	}
	return nil
}

// eventually repeats step until it says yes, within a minute.
func eventually(what string, step func() (bool, error)) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if done, err := step(); err != nil || done {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("expected within %s: %s", patience, what)
}
