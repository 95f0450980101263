package config

func rootSchema() schema {
	return schema{
		"version":        describe(schema{"const": 1}, "the version of this format"),
		"state_dir":      withDefault(text("database, keys, watch folder, reports"), "/var/lib/dirpin"),
		"store":          storeSchema(),
		"key_file":       schema{"description": "the key ring: a path or a reference", "anyOf": []any{text("a path"), schema{"$ref": "#/$defs/secret"}}},
		"log":            logSchema(),
		"watch":          oneOrMore(watchSchema(), "the folders that job files are dropped into"),
		"agreements":     oneOrMore(agreementSchema(), "the directories that users come from"),
		"voicemail":      oneOrMore(voicemailSchema(), "the voicemail systems; a user goes to the first entry whose for matches"),
		"voicemail_mode": withDefault(describe(enumOf("first", "all", "any"), "where a user matches several"), "first"),
		"recover_within": withDefault(duration("an older interrupted push is not repeated, it ends uncertain"), "1h"),
		"retry_within":   withDefault(duration("how long values of unsettled items and held jobs are kept, sealed"), "7d"),
		"late":           withDefault(duration("a start missed by more is held"), "1h"),
		"credentials":    credentialsSchema(),
		"protect":        queryRef("whom no job changes"),
		"limits": object("Ceilings for every job; 0: none.", schema{
			"max_users":    withDefault(integer(0, maxCount, "more that would change: held"), 0),
			"max_failures": withDefault(integer(0, maxCount, "more failed: stopped"), 0),
		}),
		"approve": required(object("Large jobs wait for a second person.", schema{
			"over": integer(0, maxCount, "held until someone other than the submitter releases it"),
		}), "over"),
		"mail": required(object("The mail server.", schema{
			"server":    text("smtp://host:587 or smtps://host"),
			"tls":       withDefault(enumOf("required", "none"), "required"),
			"ca_file":   text("the CA of its certificate"),
			"user":      text("the account, where the server asks for one"),
			"password":  secretRef("its password"),
			"from":      text("the sender's address"),
			"allow":     textOrList("addresses and domains (@example.com) that mail may go to"),
			"templates": text("a folder of texts of your own"),
			"language":  withDefault(text("of those whose own is not known"), "en"),
		}), "server", "from"),
		"webhook": required(object("Told when a job has ended.", schema{
			"url":     text("https://…"),
			"ca_file": text("the CA of its certificate"),
			"secret":  secretRef("signs what is sent, as Standard Webhooks says"),
		}), "url"),
		"http": required(object("Console, API, metrics and health; off when absent.", schema{
			"listen":        text("a loopback address, such as 127.0.0.1:8765"),
			"metrics_token": secretRef("what /metrics asks for; default: the file metrics.token in state_dir, made at the first start"),
		}), "listen"),
		"keep": object("How long things are kept.", schema{
			"jobs":     withDefault(duration("jobs and their items"), "365d"),
			"reports":  withDefault(duration("report folders"), "365d"),
			"accepted": withDefault(duration("accepted job files"), "90d"),
			"rejected": withDefault(duration("rejected job files"), "7d"),
		}),
	}
}

func storeSchema() schema {
	return schema{"description": "where the database is", "default": "sqlite", "anyOf": []any{
		text("sqlite or postgres://user@host/db?sslmode=verify-full"),
		required(object("PostgreSQL with a password.", schema{
			"url":      text("postgres://user@host/db?sslmode=verify-full"),
			"password": secretRef("the password"),
		}), "url"),
	}}
}

func logSchema() schema {
	return object("How much is logged and in what form.", schema{
		"level":  withDefault(enumOf("debug", "info", "warn", "error"), "info"),
		"format": withDefault(enumOf("text", "json", "journald"), "text"),
		"file":   text("a file instead of stderr; SIGHUP reopens it"),
	})
}

func watchSchema() schema {
	return object("A watch folder.", schema{
		"name":    withDefault(nameSchema(), "main"),
		"dir":     text("drop job files here"),
		"lists":   text("custom files and csv files that jobs name"),
		"reports": text("reports of jobs"),
		"settle":  withDefault(duration("a file is complete when unchanged for this long"), "1s"),
		"owners":  textOrList(`who may drop: accounts, %groups, CORP\groups`),
		"signers": text("a file of allowed signers: only files signed by one of these"),
		"plain":   withDefault(boolean("whether plain secrets may stand in job files"), true),
		"trust":   withDefault(enumOf("owner", "share"), "owner"),
		"allow": object("What jobs dropped here may do.", schema{
			"users":      queryRef("whom they may change"),
			"reset":      wordOrList("pin", "password"),
			"max_users":  integer(0, maxCount, "how many they may change; 0: no limit"),
			"run":        wordOrList("now", "held", "at", "cron"),
			"write_back": boolean("whether they may change passwords in the directory"),
			"deliver":    textOrList("none, sealed_csv, user, manager, an address or @domain"),
		}),
	})
}

func nameSchema() schema {
	return schema{"type": "string", "pattern": `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`}
}

func agreementSchema() schema {
	field := func(name string) schema {
		return textOrList("attributes for " + name + ", of which the first that has a value counts")
	}
	return required(object("A source of users in a directory.", schema{
		"name":               describe(nameSchema(), "not store, not all"),
		"servers":            textOrList("tried in order: ldaps://host, ldap://host, ldapi:///path, srv:domain"),
		"start_tls":          withDefault(boolean("TLS on ldap://"), false),
		"insecure_plaintext": withDefault(boolean("send the password in clear over ldap://"), false),
		"ca_file":            text("the certificates that are trusted"),
		"cert_file":          text("the client's certificate"),
		"key_file":           text("the key of the client's certificate"),
		"bind":               bindSchema(),
		"base":               text("where the search begins"),
		"filter":             text("an LDAP filter; left out, the default of the directory's kind"),
		"method":             withDefault(enumOf("auto", "full", "syncrepl", "dirsync"), "auto"),
		"interval":           withDefault(duration("between two syncs"), "15m"),
		"full_every":         withDefault(duration("between two comparisons with the whole"), "24h"),
		"page_size":          withDefault(integer(1, 100_000, "entries a page"), 1000),
		"timeout":            withDefault(duration("without a byte while an answer is owed"), "30s"),
		"grace":              withDefault(duration("absent for this long: removed at the next full sync"), "24h"),
		"replica_lag":        withDefault(duration("how far servers may lag behind each other"), "1h"),
		"passwords":          withDefault(enumOf("directory", "local", "write_back"), "directory"),
		"adopt_local":        withDefault(boolean("whether a local user of the same id is taken over"), false),
		"renamed_from":       describe(nameSchema(), "the name that the agreement had"),
		"write_back":         required(object("The account that changes passwords in the directory.", schema{"bind": bindSchema()}), "bind"),
		"guard": object("What one sync may lose.", schema{
			"max_deactivate": withDefault(percentage("each kind of loss"), "10%"),
			"window":         withDefault(duration("over which losses add up"), "24h"),
			"max_blank":      withDefault(percentage("emptied fields, a field"), "10%"),
		}),
		"attributes": object("The attributes of each field; [] is not read.", schema{
			"user_id": field("the user id"), "first_name": field("the first name"), "middle_name": field("the middle name"),
			"last_name": field("the last name"), "manager": field("the manager"), "department": field("the departments"),
			"mail": field("the mail address"), "telephone": field("the telephone number"), "language": field("the language"),
		}),
	}), "name", "servers", "base")
}

func bindSchema() schema {
	return object("How dirpin authenticates; left out, anonymously.", schema{
		"dn":       text("a distinguished name"),
		"password": secretRef("its password"),
		"external": boolean("by the client's certificate"),
	})
}

func voicemailSchema() schema {
	return required(object("A voicemail system.", schema{
		"name":        nameSchema(),
		"type":        enumOf("unity", "http", "exec", "stream", "none"),
		"for":         queryRef("whose mailboxes it has; left out, everyone's"),
		"url":         text("unity, http: its address"),
		"ca_file":     text("unity, http: the certificates that are trusted"),
		"user":        text("unity: the account of the API"),
		"password":    secretRef("unity: its password"),
		"command":     textOrList("exec, stream: a program's path and its arguments"),
		"secret":      secretRef("http: signs the requests"),
		"no_mailbox":  withDefault(enumOf("fail", "commit"), "fail"),
		"timeout":     withDefault(duration("for an answer"), "10s"),
		"retries":     withDefault(integer(0, 100, "after the first attempt"), 4),
		"concurrency": withDefault(integer(1, 1000, "pushes at a time"), 8),
		"rate":        schema{"type": []any{"string", "number"}, "pattern": `^[0-9.]+(/s)?$`, "description": "users a second over all nodes, such as 50/s; 0: no limit"},
		"pause_max":   withDefault(duration("how long a job may wait for the system"), "24h"),
		"hours": required(object("Pushes only then.", schema{
			"cron":     text("when it begins"),
			"for":      duration("how long it lasts"),
			"timezone": text("an IANA zone, such as Europe/Berlin"),
		}), "cron", "for"),
	}), "name", "type")
}

func credentialsSchema() schema {
	hash := func() schema { return withDefault(enumOf("argon2id"), "argon2id") }
	return object("What PINs and passwords must be like.", schema{
		"pin": object("The policy of PINs.", schema{
			"min_length":     withDefault(integer(1, 32, "digits at least"), 4),
			"max_length":     withDefault(integer(1, 32, "digits at most"), 8),
			"forbid_trivial": withDefault(boolean("whether 1234 and the like are refused"), true),
			"history":        withDefault(integer(0, 100, "earlier ones that cannot be used again"), 3),
			"expires":        withDefault(duration("after this long it must be changed"), "180d"),
			"hash":           hash(),
		}),
		"password": object("The policy of passwords.", schema{
			"min_length": withDefault(integer(1, 128, "characters at least"), 8),
			"history":    withDefault(integer(0, 100, "earlier ones that cannot be used again"), 5),
			"expires":    withDefault(duration("after this long it must be changed"), 0),
			"hash":       hash(),
		}),
		"lockout": object("When wrong attempts lock a credential.", schema{
			"attempts": withDefault(integer(0, 1000, "wrong ones in a row; 0: never"), 5),
			"within":   withDefault(duration("in which they count"), "30m"),
			"for":      withDefault(duration("how long it stays locked"), "15m"),
		}),
	})
}
