/**
 * The command that Pulumi starts in place of another when only a password that goes to it has
 * changed: prints what the other printed last, as Pulumi hands it over.
 */
process.stdout.write(process.env.PULUMI_COMMAND_STDOUT ?? "");
