/** Who is told of alerts, and whether Grafana reaches them. */
import { askGrafana, type GrafanaLogin } from "./grafana";

/** Who is told of alerts. */
export type AlertContact =
  | { kind: "webhook"; url: string }
  | { kind: "slack"; url: string }
  | { kind: "email"; addresses: string[] };

/** What to test, and the Grafana that sends. */
export interface ContactTest {
  grafana: GrafanaLogin;
  contacts: AlertContact[];
}

/** The configuration key of each kind of contact. */
export const contactKeys = {
  webhook: "alertWebhookUrl",
  slack: "alertSlackUrl",
  email: "alertEmail",
};

/** @throws Error that names the configuration key and Grafana's reason; it never shows a URL */
export async function testContacts({ grafana, contacts }: ContactTest): Promise<void> {
  for (const contact of contacts) {
    const { kind } = contact;
    const settings =
      kind === "email" ? { addresses: contact.addresses.join(";") } : { url: contact.url };
    const path = "/api/alertmanager/grafana/config/api/v1/receivers/test";
    const { status, body: answer } = await askGrafana(grafana, "POST", path, {
      receivers: [
        { name: kind, grafana_managed_receiver_configs: [{ name: kind, type: kind, settings }] },
      ],
    });
    const [result] = answer.receivers?.[0]?.grafana_managed_receiver_configs ?? [];
    if (status < 300 && result?.status === "ok") continue;
    const reason: string = result?.error ?? answer.message ?? `Grafana answers ${status}`;
    // Both kinds of URL are secrets, and whoever failed to reach one names it.
    const shown = kind === "email" ? contact.addresses.join(", ") : "[secret]";
    const told = kind === "email" ? reason : reason.replaceAll(contact.url, shown);
    throw new Error(
      `configuration key "${contactKeys[kind]}" is "${shown}": ` +
        `it must take Grafana's test message, but: ${told}`,
    );
  }
}
