import { SPDX } from '@cyclonedx/cyclonedx-library';
import type { BundledPart, Finding } from './ohif.ts';

/** A component in CycloneDX 1.6 JSON, as far as it is made here. */
export interface PartComponent {
  readonly type: 'library' | 'application' | 'platform';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly group?: string;
  readonly version?: string;
  readonly purl?: string;
  readonly cpe?: string;
  readonly licenses?: readonly object[];
  readonly properties?: readonly { readonly name: string; readonly value: string }[];
  readonly evidence?: { readonly identity: readonly object[] };
  readonly components?: readonly PartComponent[];
}

/** What an image has beside packages of npm: edge-gateway/runtime-root writes it down inside of the image, in /app/licences/system.json. */
export interface SystemParts {
  /** `v24.21.0` */
  readonly node: string;
  /** of the base, as /etc/os-release has it: `debian-12` */
  readonly distribution: string;
  readonly packages: readonly {
    readonly name: string;
    readonly version: string;
    readonly architecture: string;
  }[];
}

/** Part of something that came built: what shows it is said, and a version only where something shows it. @param within bom-ref of what it is part of */
export function bundledComponent(part: BundledPart, within: string): PartComponent {
  const { path, name, version, licence, licenceOf, findings, parts } = part;
  const ref = `${within}!${path}`;
  const [group, bare] = name.startsWith('@') ? (name.split('/') as [string, string]) : [undefined, name];
  const properties = [
    { name: 'nephos:path', value: path },
    // A licence seldom changes with a version, and yet it is not that of this one that was looked at.
    ...(licenceOf === undefined ? [] : [{ name: 'nephos:licenceOfVersion', value: licenceOf }]),
  ];
  return {
    type: 'library',
    'bom-ref': ref,
    ...(group !== undefined && { group }),
    name: bare,
    ...(version !== undefined && { version }),
    purl: `pkg:npm/${name.replace('@', '%40')}${version === undefined ? '' : `@${version}`}`,
    ...(licence !== undefined && { licenses: [licenceChoice(licence)] }),
    properties,
    evidence: { identity: identityOf(findings) },
    ...(parts.length > 0 && { components: parts.map((inner) => bundledComponent(inner, ref)) }),
  };
}

/** As the package's author declares it in the registry, not as anybody has concluded from its files. */
function licenceChoice(expression: string): object {
  const acknowledgement = 'declared';
  if (SPDX.isSupportedSpdxId(expression)) return { license: { id: expression, acknowledgement } };
  return { expression, acknowledgement };
}

/** By field; what is not the version that is named in the end stays as a method with its words. */
function identityOf(findings: readonly Finding[]): object[] {
  return (['name', 'version'] as const).flatMap((field) => {
    const methods = findings.filter((finding) => finding.field === field);
    if (methods.length === 0) return [];
    return {
      field,
      confidence: methods[0]!.confidence,
      ...(methods[0]!.version !== undefined && { concludedValue: methods[0]!.version }),
      methods: methods.map(({ technique, confidence, value, version }) => ({
        technique,
        confidence,
        value: version === undefined ? value : `${version}: ${value}`,
      })),
    };
  });
}

export function nodeComponent(version: string): PartComponent {
  const bare = version.replace(/^v/, '');
  return {
    type: 'platform',
    'bom-ref': 'system:node',
    name: 'node',
    version: bare,
    cpe: `cpe:2.3:a:nodejs:node.js:${bare}:*:*:*:*:*:*:*`,
    purl: `pkg:generic/node@${bare}`,
    licenses: [licenceChoice('MIT')],
  };
}

/** Node, and the packages of the distribution that its libraries come from. Their licences are texts, which the image has beside the list. */
export function systemComponents({ node, distribution, packages }: SystemParts): PartComponent[] {
  const [os = ''] = distribution.split('-');
  return [
    nodeComponent(node),
    ...packages.map(
      ({ name, version, architecture }): PartComponent => ({
        type: 'library',
        'bom-ref': `system:${name}`,
        name,
        version,
        purl: `pkg:deb/${os}/${name}@${encodeURIComponent(version)}?arch=${architecture}&distro=${distribution}`,
      }),
    ),
  ];
}
