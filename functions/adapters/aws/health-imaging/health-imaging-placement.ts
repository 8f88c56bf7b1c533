import type { InstanceRecord, Tenant } from '#core/archive/records.ts';
import type { FramePlacement, PlacedMetadata, PlacedSeries, PlacementReport } from '#core/ports/frame-placement.ts';
import { removeImageSets } from './image-set-removal.ts';
import type { HealthImagingOptions } from './options.ts';
import { PlacedReader } from './placed-reader.ts';
import { StudyImport } from './study-import.ts';

/** FramePlacement in AWS HealthImaging (docs/health-imaging.md): importing, reading and removing, each by its own file. */
export class HealthImagingPlacement implements FramePlacement {
  readonly #options: HealthImagingOptions;
  readonly #import: StudyImport;
  readonly #reader: PlacedReader;

  constructor(options: HealthImagingOptions) {
    this.#options = options;
    this.#import = new StudyImport(options);
    this.#reader = new PlacedReader(options);
  }

  place(tenant: Tenant, study: string): Promise<PlacementReport> {
    return this.#import.place(tenant, study);
  }

  remove(tenant: Tenant, study: string): Promise<'removing' | 'removed' | 'placeAgain'> {
    return removeImageSets(this.#options, tenant, study);
  }

  readFrame(instance: InstanceRecord, number: number, transferSyntaxUID: string): Promise<Uint8Array | undefined> {
    return this.#reader.readFrame(instance, number, transferSyntaxUID);
  }

  openMetadata(series: PlacedSeries): Promise<PlacedMetadata | undefined> {
    return this.#reader.openMetadata(series);
  }
}
