package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

// fileWarnings says which files that the configuration names cannot be read, as
// the service would find them. They are no faults of the configuration, which
// may be checked elsewhere too.
func fileWarnings(path string, cfg *config.Config) strictyaml.Faults {
	if !ownsState(cfg.StateDir) {
		return nil // others see less than the service
	}
	var faults strictyaml.Faults
	warn := func(format string, args ...any) {
		faults = append(faults, strictyaml.Fault{File: path, Warning: true, Message: fmt.Sprintf(format, args...)})
	}
	secretOf := func(what string, s config.Secret) {
		if s.File == "" {
			return
		}
		if _, err := s.Resolve(nil); err != nil {
			warn("%s: %v", what, err)
		}
	}
	fileOf := func(what, name string) {
		if name == "" {
			return
		}
		f, err := os.Open(name)
		if err != nil {
			warn("%s: %v", what, err)
			return
		}
		f.Close()
	}
	for _, a := range cfg.Agreements {
		secretOf("agreement "+a.Name+": password", a.Bind.Password)
		if a.WriteBack != nil {
			secretOf("agreement "+a.Name+": password of write_back", a.WriteBack.Bind.Password)
		}
		fileOf("agreement "+a.Name+": ca_file", a.CAFile)
		fileOf("agreement "+a.Name+": cert_file", a.CertFile)
		fileOf("agreement "+a.Name+": key_file", a.KeyFile)
	}
	for _, v := range cfg.Voicemail {
		secretOf("voicemail "+v.Name+": password", v.Password)
		secretOf("voicemail "+v.Name+": secret", v.Secret)
		fileOf("voicemail "+v.Name+": ca_file", v.CAFile)
		if len(v.Command) > 0 {
			if _, err := exec.LookPath(v.Command[0]); err != nil {
				warn("voicemail %s: command: %v", v.Name, err)
			}
		}
	}
	if cfg.Mail != nil {
		secretOf("mail: password", cfg.Mail.Password)
	}
	if cfg.Webhook != nil {
		secretOf("webhook: secret", cfg.Webhook.Secret)
	}
	if cfg.HTTP != nil {
		secretOf("http: metrics_token", cfg.HTTP.MetricsToken)
	}
	return faults
}
