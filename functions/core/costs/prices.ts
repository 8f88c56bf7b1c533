import list from './aws-prices.json' with { type: 'json' };

export interface Prices {
  readonly items: Readonly<Record<string, { readonly price: number; readonly unit: string }>>;
}

const GIB = 1024 ** 3;
const HOURS_A_MONTH = 730;

/** Prices by name, each in USD for one of what is counted. @throws Error for a price that is not in the list */
export function priceList({ items }: Prices) {
  const of = (name: string, per = 1): number => {
    const item = items[name];
    if (item === undefined) throw new Error(`no price of ${name}`);
    return item.price / per;
  };
  return {
    standard: of('s3 storage.standard.first50tb', GIB),
    intFrequent: of('s3 storage.int.frequent', GIB),
    intInfrequent: of('s3 storage.int.infrequent', GIB),
    intArchiveInstant: of('s3 storage.int.archive_instant', GIB),
    intMonitoring: of('s3 int.monitoring.per_1k_objects_month', 1_000),
    deep: of('s3 storage.deep_archive', GIB),
    put: of('s3 req.put.standard', 1_000),
    get: of('s3 req.get.standard', 1_000),
    toIntelligent: of('s3 lifecycle.to_int', 1_000),
    toDeep: of('s3 lifecycle.to_deep_archive', 1_000),
    writeUnit: of('dynamodb ondemand.wru', 1e6),
    readUnit: of('dynamodb ondemand.rru', 1e6),
    replicatedUnit: of('dynamodb ondemand.rwru_global', 1e6),
    index: of('dynamodb storage.standard', GIB),
    indexRecovery: of('dynamodb pitr', GIB),
    gbSecond: of('lambda gb_s.arm.first7_5b'),
    invocation: of('lambda requests', 1e6),
    apiRequest: of('apigateway rest.first333m', 1e6),
    frontRequest: of('cloudfront payg.https.us', 10_000),
    toViewer: of('cloudfront payg.dto.us_eu.first10tb', GIB),
    toOrigin: of('cloudfront payg.to_origin', GIB),
    betweenRegions: of('data_transfer inter_region.use1_to_other', GIB),
    queueRequest: of('messaging_workflow sqs.standard', 1e6),
    logs: of('cloudwatch_cloudtrail logs.ingest', GIB),
    alarm: of('cloudwatch_cloudtrail alarm'),
    key: of('kms key'),
    firewall: of('security_backup waf.acl'),
    firewallRule: of('security_backup waf.rule'),
    imagingFrequent: of('healthimaging storage.frequent', GIB),
    imagingArchive: of('healthimaging storage.archive_instant', GIB),
    imagingCall: of('healthimaging api', 1_000),
    googleBlob: of('google blob', GIB / HOURS_A_MONTH),
    googleIndex: of('google structured', GIB / HOURS_A_MONTH),
    googleRequest: of('google requests.standard', 100_000),
    googleSearch: of('google requests.complex', 100_000),
  };
}
export type PriceList = ReturnType<typeof priceList>;

/** The list prices of AWS: when they were compiled, and of which region they are. */
export const AWS_LIST = {
  compiled: list.compiled,
  region: list.region,
  currency: list.currency,
  prices: priceList(list),
} as const;
