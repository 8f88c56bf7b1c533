import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks, HIPAASecurityChecks } from 'cdk-nag';
import { describe, expect, test } from 'vitest';
import { Deployment } from '#infra/build.ts';
import { readSettings } from '#infra/read-settings.ts';
import { FARGATE, newApp, PROD } from './synth.ts';

interface Report {
  readonly pluginReports: readonly {
    readonly pluginName: string;
    readonly violations?: readonly {
      readonly ruleName: string;
      readonly severity: string;
      readonly suppressed?: unknown;
      readonly violatingConstructs: readonly { readonly constructPath: string }[];
    }[];
  }[];
}

/** Synthesizes with both rule packs and CDK's own validation, and returns what nobody has acknowledged: warnings too. */
function findings(context: object): { open: string[]; rules: number } {
  const app: App = newApp();
  const environment = { CDK_DEFAULT_ACCOUNT: '123456789012', CDK_DEFAULT_REGION: 'us-east-1' };
  // A page in place of 200 MB: what the rules look at is who copies it.
  const folder = mkdtempSync(join(tmpdir(), 'nephos-site-'));
  writeFileSync(join(folder, 'index.html'), '<!doctype html>');
  new Deployment(app, readSettings(context, environment), { siteContent: [{ folder, leftOut: [] }] });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new HIPAASecurityChecks(app));
  try {
    app.synth();
  } catch (error) {
    if (!String(error).includes('Validation failed')) throw error;
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8')) as Report;
  for (const made of [app.outdir, folder]) rmSync(made, { recursive: true });
  const violations = report.pluginReports.flatMap(({ pluginName, violations = [] }) =>
    violations.map((violation) => ({ pluginName, ...violation })),
  );
  return {
    rules: report.pluginReports.length,
    open: violations
      .filter(({ suppressed }) => !suppressed)
      .flatMap(({ pluginName, ruleName, severity, violatingConstructs }) =>
        violatingConstructs.map(({ constructPath }) => `${pluginName} ${ruleName} (${severity}) ${constructPath}`),
      ),
  };
}

describe('the rule packs AwsSolutions and HIPAA, and the validation of templates', () => {
  test.each([
    ['dev', {}],
    ['prod, in two regions', PROD],
    [
      'prod with the service on Fargate, and an issuer that wants a secret',
      {
        ...PROD,
        fargate: FARGATE,
        issuer: {
          ...{ url: 'https://login.example.org', audience: 'pacs', clientId: 'console' },
          clientSecretArn: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:nephos-issuer-AbCdEf',
        },
      },
    ],
    [
      'prod failed over to its second region, of three tenants, two with keys of their own, locked for good, with tiers of its own',
      {
        ...PROD,
        writesTo: 'second',
        moreTenants: ['north', 'south'],
        tenantKeys: ['north', 'south'],
        retention: { objectLock: 'compliance', objectLockDays: 3_650 },
        backup: { compliance: true, vaultLockDays: 365 },
        tiers: [
          { policy: 'default', steps: [{ storageClass: 'GLACIER_IR', afterDays: 90 }] },
          { policy: 'deep', steps: [{ storageClass: 'DEEP_ARCHIVE', afterDays: 1 }] },
        ],
        tiering: [{ policy: 'deep', idleDays: 730, studyAgeDays: 1_825 }],
        corsOrigins: ['https://viewer.example.org'],
      },
    ],
    [
      'dev with everything that it may have',
      { firewall: true, audit: true, backup: true, costExport: true, secondRegion: 'us-west-2', tenantKeys: ['main'] },
    ],
    [
      'prod, in one region, with the issuer of a clinic',
      { kind: 'prod', issuer: { url: 'https://login.example.org', audience: 'pacs' } },
    ],
  ])('find nothing in %s that is not acknowledged with a reason', { timeout: 900_000 }, (_, context) => {
    const { open, rules } = findings(context);
    expect(open).toEqual([]);
    expect(rules).toBeGreaterThanOrEqual(2);
  });
});
